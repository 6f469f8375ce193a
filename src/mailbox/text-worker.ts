/** The text extractor's thread: for each message its bytes, back comes its normalised search text. */
import { parentPort } from 'node:worker_threads';
import { extractSearchText, normaliseForSearch } from '../mime/text.ts';

parentPort?.on('message', (raw: Uint8Array) => {
  const { header, body } = extractSearchText(raw);
  parentPort?.postMessage({ header: normaliseForSearch(header), body: normaliseForSearch(body) });
});
