import { expect, test } from 'vitest';
import { decodeHeaderText, decodeParameter } from '../../src/mime/encoded-word.ts';

test.for([
  ['plain', 'plain'],
  ['=?utf-8?Q?a=C3=A4_b?=', 'aä b'],
  ['=?UTF-8?b?w6Q=?= x', 'ä x'],
  ['=?utf-8?q?a?= =?utf-8?q?b?=', 'ab'],
  ['=?utf-8?q?a?=\t =?iso-8859-1?q?=E4?=', 'aä'],
  ['=?utf-8?q?=C3?= =?utf-8?q?=A4?=', 'ä'],
  ['a =?utf-8?q?b?= c =?utf-8?q?d?=', 'a b c d'],
  ['=?utf-8*en?q?a?=', 'a'],
  ['=?utf-8?q?with space?=', 'with space'],
  ['=?utf-8?x?a?=', '=?utf-8?x?a?='],
  ['=?utf-8?q?never ends', '=?utf-8?q?never ends'],
  ['=?utf-8?b?w6Q?=', 'ä'],
  ['=?nonsense?q?=C3=A4?=', 'ä'],
  ['"=?utf-8?q?quoted?="', '"quoted"'],
  ['raw \xc3\xa4', 'raw ä'],
  ['raw \xe4', 'raw ä'],
  ['\xe4 =?utf-8?q?b?=', 'ä b'],
  ['=?iso-2022-jp?B?GyRCRnwbKEI=?= =?iso-2022-jp?B?GyRCS1wbKEI=?=', '日本'],
  ['', ''],
] as const)('RFC 2047: %s', ([value, expected]) => {
  expect(decodeHeaderText(value)).toBe(expected);
});

test.for([
  ['an extended value', [['name*', "utf-8'de'%C3%BC.txt"]], 'ü.txt'],
  [
    'it comes before the plain one',
    [
      ['name', 'u.txt'],
      ['name*', "utf-8''%C3%BC.txt"],
    ],
    'ü.txt',
  ],
  ['apostrophes in the value', [['name*', "utf-8''it's%27"]], "it's'"],
  ['no charset', [['name*', "''%41"]], 'A'],
  ['bad escapes', [['name*', "utf-8''%ZZ%4"]], '%ZZ%4'],
  ['no apostrophes', [['name*', '%41']], 'A'],
  ['an encoded-word', [['NAME', '=?utf-8?q?=C3=BC?=']], 'ü'],
  ['none', [['other', 'x']], null],
] as const)('RFC 2231: %s', ([, parameters, expected]) => {
  expect(decodeParameter(parameters, 'name')).toBe(expected);
});
