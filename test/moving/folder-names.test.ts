import { expect, test } from 'vitest';
import { folderNameFault } from '../../src/imap/proto/utf7.ts';
import type { SpecialUse } from '../../src/mailbox/model.ts';
import { FolderNames, type FolderOptions } from '../../src/moving/folder-names.ts';
import { SourceError } from '../../src/moving/source.ts';

const OURS = [
  { name: 'INBOX', specialUse: null },
  { name: 'Gesendet', specialUse: 'Sent' },
  { name: 'Trash', specialUse: 'Trash' },
] as const;
function nameOf(path: string, specialUse: SpecialUse | null = null, options: FolderOptions = {}): string {
  return new FolderNames(OURS, options).target({ path: path.split('/'), specialUse }).name;
}

test.for([
  ['Inbox', 'INBOX'],
  ['INBOX/Sub', 'INBOX/Sub'],
  ['Sent Items', 'Gesendet'],
  ['Sent Items/2020', 'Gesendet/2020'],
  ['Deleted Items', 'Trash'],
  ['Gelöschte Elemente', 'Trash'],
  ['Junk E-mail', 'Junk E-mail'], // there is no such folder of ours: it becomes one
  ['Project/Sent Items', 'Project/Sent Items'],
  ['A*b%/\u0007x', 'A_b_/_x'],
  ['../..', '__/__'],
] as const)('%s goes to %s', ([path, name]) => {
  expect(nameOf(path)).toBe(name);
  expect(folderNameFault(name)).toBeNull();
});

test('a use that the source states wins over names, and takes what is below it along', () => {
  expect(nameOf('Objets', 'Sent')).toBe('Gesendet');
  expect(nameOf('Verschickt', 'Archive')).toBe('Verschickt');
  const names = new FolderNames(OURS, {}, [{ path: ['Mail', 'Out'], specialUse: 'Sent' }]);
  expect(names.target({ path: ['Mail', 'Out', 'Old'], specialUse: null }).name).toBe('Gesendet/Old');
});

test('into puts all below one folder; map moves one folder and what is below it', () => {
  expect(nameOf('Sent Items', 'Sent', { into: 'Old/Ann' })).toBe('Old/Ann/Sent Items');
  expect(nameOf('Work/A', null, { renames: ['Work=Job/Past'] })).toBe('Job/Past/A');
  expect(nameOf('Workers', null, { renames: ['Work=Job'] })).toBe('Workers');
  expect(() => new FolderNames(OURS, { renames: ['Work'] })).toThrow(SourceError);
});

test('a name that is too deep or too long becomes one that the mailbox takes', () => {
  const deep = nameOf(Array.from({ length: 60 }, (_, at) => `level${String(at)}`).join('/'));
  const long = nameOf('ä'.repeat(300));
  expect([folderNameFault(deep), folderNameFault(long)]).toEqual([null, null]);
});
