/** Writes config/sealpost.example.toml and config/README.md from src/config/schema.ts. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { configReadme, exampleToml } from '../src/config/reference.ts';

const directory = path.join(import.meta.dirname, '../config');
writeFileSync(path.join(directory, 'sealpost.example.toml'), exampleToml());
writeFileSync(path.join(directory, 'README.md'), configReadme());
