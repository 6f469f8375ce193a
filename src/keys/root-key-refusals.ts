/**
 * What an operator reads when a root key cannot be taken for an organization: the reason, and what to do about it.
 * One table for all key services. Called by accounts/ when an organization or a grant is created.
 */
import { ServerError } from '../base/errors.ts';
import { KeyProviderError, type KeyFailure, type RootKeyFault } from './provider.ts';

const OTHER_KEY = 'Name another key with --key.';
const REFUSALS: Readonly<Record<RootKeyFault | KeyFailure, string>> = {
  asymmetric:
    'The key is asymmetric. Only a symmetric encryption key can be a root key (AWS KMS: key spec SYMMETRIC_DEFAULT, ' +
    `key usage ENCRYPT_DECRYPT). ${OTHER_KEY}`,
  'wrong-usage':
    'The key is not for encryption but for signatures or MACs. A root key needs key usage ENCRYPT_DECRYPT and key spec ' +
    `SYMMETRIC_DEFAULT. ${OTHER_KEY}`,
  disabled:
    'The key is disabled. Enable it (AWS KMS: EnableKey; local keyring: sealpost keyring enable NAME), or name another ' +
    'key with --key.',
  'pending-deletion':
    'The key is pending deletion: mail under it would be lost with it. Cancel the deletion and enable the key ' +
    '(AWS KMS: CancelKeyDeletion, EnableKey), or name another key with --key.',
  'pending-import': 'The key has no key material yet. Import it, or name another key with --key.',
  'not-ready':
    'The key is not ready: it is being made or changed, or its custom key store is not connected. Try again when its ' +
    'state is Enabled, or name another key with --key.',
  'not-configured':
    'This key service is not configured here. Set its options under [keys], or choose another --provider.',
  unreachable:
    'The key service cannot be reached. Check the network and the options under [keys] (for AWS KMS: endpoint, region, ' +
    'credentials, timeoutMs; for Vault: address, caFile, token), then try again.',
  throttled: 'The key service is busy. Try again in a minute.',
  internal: 'The key service failed. Try again in a minute; its own status page or log may say more.',
  'bad-answer':
    'The key service gave an answer that cannot be right. Check that its endpoint is a key service, and the log of this ' +
    'server.',
  denied:
    'The key service denies access to the key. Allow this server kms:DescribeKey, kms:Encrypt and kms:Decrypt, and ' +
    'kms:CreateGrant and kms:RevokeGrant where a grantee is configured; check its credentials and the key policy. Vault: ' +
    'its token needs read on keys/NAME, and update on encrypt/NAME and decrypt/NAME, of the mount. Local keyring: its ' +
    'file has to belong to this user, with mode 0600.',
  'not-found':
    'The key service has no such key. Check its name, for AWS KMS the region and account, for Vault the mount. Local ' +
    'keyring: see sealpost keyring list.',
  'invalid-ciphertext':
    'The key did not unwrap what it had just wrapped. Do not use it; check the key service behind its endpoint.',
  unsuitable: `The key cannot be a root key: a symmetric encryption key is needed. ${OTHER_KEY}`,
};

/** As `error`, with the reason and the remedy as its client text where a provider refused or failed. */
export function explainedRefusal(error: unknown): unknown {
  if (!(error instanceof ServerError) || !(error.cause instanceof KeyProviderError)) return error;
  const { failure, fault } = error.cause;
  const { code, detail, retryable, cause } = error;
  return new ServerError(code, { clientText: REFUSALS[fault ?? failure], detail, retryable, cause });
}
