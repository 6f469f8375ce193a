/** What a grant is in words, for the commands that show one. */
import type { OperationAnswer } from '../operations.ts';

type Grant = OperationAnswer<'grant.create'>;

/** Who sees to it that the grant is kept to. */
export function enforcerText({ providerGrant, provider, providerGrantId }: Grant): string {
  switch (providerGrant) {
    case 'made':
      return `this server and ${provider} (its grant ${providerGrantId ?? ''})`;
    case 'not-supported':
      return `this server alone: ${provider} has no grants`;
    case 'no-grantee-principal':
      return 'this server alone: keys.awsKms.granteePrincipal is not set';
    case 'pending':
      return `nobody yet: ${provider} has not answered`;
  }
}
