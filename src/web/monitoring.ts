/**
 * What monitoring asks for: `/metrics` for Prometheus, `/healthz` (the process answers), `/readyz` (all parts are well).
 * Called by app.ts, on listeners of its own that are on this machine unless the operator says otherwise.
 */
import type { RequestListener } from 'node:http';
import { answering } from './http.ts';

type MonitoringDeps = Readonly<{
  metrics: Readonly<{ contentType: string; text(): Promise<string> }>;
  report(): Readonly<{ isOk: boolean; parts: unknown }>;
}>;

export function monitoring({ metrics, report }: MonitoringDeps): RequestListener {
  return answering(async (path) => {
    switch (path) {
      case '/metrics':
        return { status: 200, type: metrics.contentType, body: await metrics.text() };
      case '/healthz':
        return { status: 200, type: 'application/json', body: '{"isOk":true}\n' };
      case '/readyz': {
        const { isOk, parts } = report();
        return { status: isOk ? 200 : 503, type: 'application/json', body: `${JSON.stringify({ isOk, parts })}\n` };
      }
      default:
        return null;
    }
  });
}
