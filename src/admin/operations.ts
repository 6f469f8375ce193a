/**
 * Everything an operator can ask of a running server: one table, by name. The server runs it, and the client's types
 * are taken from it, so neither can drift.
 */
import type { z } from 'zod';
import { backupOperations } from './operations/backups.ts';
import { appPasswordOperations } from './operations/app-passwords.ts';
import { cacheOperations } from './operations/caches.ts';
import { dkimOperations } from './operations/dkim.ts';
import { domainOperations } from './operations/domains.ts';
import { gatewayOperations } from './operations/gateways.ts';
import { exportOperations } from './operations/exports.ts';
import { grantOperations } from './operations/grants.ts';
import { importOperations } from './operations/imports.ts';
import { keyChangeOperations } from './operations/key-changes.ts';
import { keyOperations } from './operations/keys.ts';
import { keyringOperations } from './operations/keyring.ts';
import { mailboxOperations } from './operations/mailboxes.ts';
import { organizationOperations } from './operations/organizations.ts';
import { queueOperations } from './operations/queue.ts';
import { receiptOperations } from './operations/receipts.ts';
import { statusOperations } from './operations/status.ts';
import { taskOperations } from './operations/tasks.ts';
import { tlsOperations } from './operations/tls.ts';

export const operations = {
  ...organizationOperations,
  ...domainOperations,
  ...dkimOperations,
  ...mailboxOperations,
  ...appPasswordOperations,
  ...importOperations,
  ...exportOperations,
  ...keyOperations,
  ...keyChangeOperations,
  ...grantOperations,
  ...keyringOperations,
  ...cacheOperations,
  ...queueOperations,
  ...receiptOperations,
  ...gatewayOperations,
  ...statusOperations,
  ...backupOperations,
  ...taskOperations,
  ...tlsOperations,
} as const;

type Operations = typeof operations;
export type OperationName = keyof Operations;
export type OperationInput<Name extends OperationName> = z.input<Operations[Name]['input']>;
export type OperationAnswer<Name extends OperationName> = Awaited<ReturnType<Operations[Name]['run']>>;
