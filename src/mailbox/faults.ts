/** Failures that several operations on a mailbox share. */
import { ServerError } from '../base/errors.ts';

export function noSuchFolder(): ServerError {
  return new ServerError('not-found', { clientText: 'There is no folder of that name.' });
}
