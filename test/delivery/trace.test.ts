import { describe, expect, test } from 'vitest';
import { HopCounter, traceFields } from '../../src/delivery/trace.ts';

const TRACE = {
  transaction: 'abc123',
  hostname: 'mx.example.org',
  protocol: 'ESMTPS',
  sender: 'ann@example.net',
  recipient: 'bob@example.org',
  peer: { address: '192.0.2.7', helo: 'out.example.net', tlsCipher: 'TLS_AES_256_GCM_SHA384' },
  receivedAtMs: Date.UTC(2026, 10, 3, 9, 5, 7),
} as const;

test('the trace fields as RFC 5321 §4.4 and RFC 8314 §4.3 lay them out', () => {
  expect(traceFields(TRACE).toString()).toBe(
    'Return-Path: <ann@example.net>\r\n' +
      'Received: from out.example.net ([192.0.2.7])\r\n' +
      '\tby mx.example.org with ESMTPS id abc123\r\n' +
      '\tfor <bob@example.org>\r\n' +
      '\ttls TLS_AES_256_GCM_SHA384;\r\n' +
      '\tTue, 03 Nov 2026 09:05:07 +0000\r\n',
  );
});

test('the null reverse-path, an IPv6 peer, no TLS; T2 no `for` when there are several recipients', () => {
  const peer = { address: '2001:db8::1', helo: '[IPv6:2001:db8::1]', tlsCipher: null };
  const text = traceFields({ ...TRACE, sender: '', recipient: null, peer, protocol: 'ESMTP' }).toString();
  expect(text).toMatch(/^Return-Path: <>\r\nReceived: from \[IPv6:2001:db8::1\] \(\[IPv6:2001:db8::1\]\)\r\n/);
  expect(text).not.toMatch(/\bfor\b|\btls\b/);
});

test.for(['a\r\nX-Forged: 1', 'a\nb', 'a b', '(comment)', '<x>', 'a;b', '', '-a', 'x'.repeat(300), 'a\0', 'é.example'])(
  'T1 HELO %j cannot shape the fields',
  (helo) => {
    const lines = traceFields({ ...TRACE, peer: { ...TRACE.peer, helo } })
      .toString()
      .split('\r\n');
    expect(lines).toHaveLength(7);
    expect(lines[1]).toBe('Received: from unknown ([192.0.2.7])');
  },
);

test('T1 addresses cannot shape the fields either', () => {
  const text = traceFields({
    ...TRACE,
    sender: 'a\r\nX: 1@b',
    recipient: 'c\u2028\u0085\nd@e',
    peer: { address: '1.2.3.4])\r\nX: 1', helo: 'h', tlsCipher: 'A\r\nB: c' },
  }).toString();
  expect(text.split('\r\n').filter((line) => !/^(?:Return-Path: |Received: |\t|$)/.test(line))).toEqual([]);
  expect(text).not.toMatch(/[\u0085\u2028]/);
});

describe('T3 hops', () => {
  const hops = (count: number) =>
    'Received: from a by b\r\n\tfor c\r\n'.repeat(count) + '\r\nReceived: in the body\r\n';
  const isLooping = (text: string, pieceLength = text.length) => {
    const counter = new HopCounter();
    for (let at = 0; at < text.length; at += pieceLength) counter.push(Buffer.from(text.slice(at, at + pieceLength)));
    return counter.isLooping;
  };

  test.for([1, 2, 3, 7, 1000])('counted in pieces of %i', (pieceLength) => {
    expect(isLooping(hops(50), pieceLength)).toBe(false);
    expect(isLooping(hops(51), pieceLength)).toBe(true);
  });

  test('in any case and with obsolete space; nothing that only looks like it', () => {
    expect(isLooping('RECEIVED : x\r\nreceived:y\r\n'.repeat(26))).toBe(true);
    expect(isLooping('X-Received: x\r\nReceivedX: y\r\n Received: z\r\nReceive: a\r\n'.repeat(60))).toBe(false);
    expect(isLooping('\r\n' + 'Received: x\r\n'.repeat(60))).toBe(false);
  });
});
