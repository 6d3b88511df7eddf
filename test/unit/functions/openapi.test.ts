import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateOpenApi } from '../../../build/openapi.ts';
import { HTTP_ERRORS } from '../../../shared/runtime/http-errors.ts';

const FILE = join(import.meta.dirname, '../../../docs/openapi.json');

describe('docs/openapi.json', () => {
  it('is what the routes say (else run: node build/openapi.ts)', async () => {
    expect(readFileSync(FILE, 'utf8')).toBe(await generateOpenApi());
  });

  it('asks for a token on every route but the health checks, and lists every error code', () => {
    const { paths, components } = JSON.parse(readFileSync(FILE, 'utf8'));
    for (const [path, methods] of Object.entries<Record<string, { security: object[] }>>(paths)) {
      for (const { security } of Object.values(methods)) {
        expect([path, security.length > 0]).toEqual([path, !path.startsWith('/health')]);
      }
    }
    expect(components.schemas.Problem.properties.code.enum).toEqual(Object.keys(HTTP_ERRORS));
  });
});
