/** How a command ends: what stands in its tagged line. RFC 9051 §7.1. Made by commands/*.ts, printed by dispatch.ts. */
import type { ResponseCode } from './proto/codes.ts';

export type Answer = Readonly<{ status: 'OK' | 'NO' | 'BAD'; code: ResponseCode | null; text: string }>;

export const ok = (text: string, code: ResponseCode | null = null): Answer => ({ status: 'OK', code, text });
export const no = (text: string, code: ResponseCode | null = null): Answer => ({ status: 'NO', code, text });
export const bad = (text: string): Answer => ({ status: 'BAD', code: null, text });
