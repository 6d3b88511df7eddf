/**
 * Generates the OpenAPI document from the routes that the functions really have, with the schemas that really
 * judge their requests.
 *
 *   node build/openapi.ts            writes docs/openapi.json
 *   node build/openapi.ts --check    fails where that file is not what would be written
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import swagger from '@fastify/swagger';
import { type FastifySchema, fastify } from 'fastify';
import { buildHealthApp } from '../functions/health/app.ts';
import { buildApp as buildPayApp } from '../functions/pay/app.ts';
import { buildApp as buildSettleApp } from '../functions/settle/app.ts';
import { buildStatsApp } from '../functions/stats/app.ts';
import { type Access, type App, listRoutes } from '../shared/runtime/app.ts';
import { Authenticator } from '../shared/runtime/auth.ts';
import { HTTP_ERRORS } from '../shared/runtime/http-errors.ts';
import { PROBLEM_MEDIA_TYPE } from '../shared/runtime/problem-details.ts';

const ROOT = join(import.meta.dirname, '..');
const FILE = join(ROOT, 'docs/openapi.json');

/** Request headers that handlers read for themselves, because a wrong one has a code of its own. */
const HEADERS: Readonly<Record<string, object>> = {
  'POST /pay': {
    type: 'object',
    required: ['Idempotency-Key'],
    properties: {
      'Idempotency-Key': {
        type: 'string',
        minLength: 1,
        maxLength: 255,
        description: 'Names this payment among all of the caller. The same key and body never pay twice.',
      },
      Prefer: {
        type: 'string',
        description: '`respond-async`: answer 202 as soon as the amount is reserved.',
      },
    },
  },
};

const PROBLEM = {
  $id: 'Problem',
  type: 'object',
  title: 'Problem',
  description: 'Problem details, RFC 9457.',
  required: ['type', 'title', 'status', 'detail', 'instance', 'code'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string', description: "The request's id, as in the log and in X-Request-Id." },
    code: { type: 'string', enum: Object.keys(HTTP_ERRORS), description: 'Stable; branch on this.' },
    field: { type: 'string', description: 'The field or header at fault.' },
  },
  additionalProperties: { type: ['string', 'number', 'boolean'] },
};

/** The functions' routes. Nothing is served: what the handlers would use is not there. */
function functionApps(): App[] {
  const authenticator = new Authenticator({
    callers: {},
    audience: '',
    tokenLifetimeMaxSeconds: 0,
    monitoringKey: null,
    nowMs: () => 0,
  });
  const absent = absence();
  return [
    buildPayApp({ engine: absent, search: absent, authenticator }),
    buildSettleApp({ settleOnce: async () => absent, authenticator }),
    buildHealthApp(absent),
    buildStatsApp({ reports: absent, rules: absent, authenticator }),
  ];
}

/** Stands where a handler's dependency would; whoever touches it has begun to serve. */
function absence(): never {
  return new Proxy(
    {},
    {
      get: (_target, name) => {
        throw new Error(`the OpenAPI document is made without ${String(name)}`);
      },
    },
  ) as never;
}

export async function generateOpenApi(): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const document = fastify({ exposeHeadRoutes: false });
  document.setValidatorCompiler(() => () => true);
  document.setSerializerCompiler(() => JSON.stringify);
  document.addSchema(PROBLEM);
  await document.register(swagger, {
    refResolver: { buildLocalReference: ({ $id }) => String($id) },
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'TRON payment functions',
        version,
        description:
          'Pays out USDT (TRC-20) and TRX on TRON, each payment exactly once. Amounts are decimal strings.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: 'http://127.0.0.1:8090', description: 'beta-sidecar on this machine' }],
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description:
              'HS256; kid and iss name the caller; aud, iat, exp and jti are needed. For every method but GET, ' +
              'request_sha256 is the base64url SHA-256 over METHOD, path and Idempotency-Key, each with a line ' +
              'feed after it, and the body. May come in X-Internal-Auth, without "Bearer".',
          },
          monitoringKey: { type: 'http', scheme: 'bearer', description: 'The monitoring key.' },
        },
      },
    },
  });
  document.after(() => {
    for (const route of functionApps().flatMap(listRoutes)) {
      const access = route.config?.access ?? { public: true as const };
      document.route({
        method: route.method,
        url: route.url,
        handler: async () => {},
        schema: {
          ...route.schema,
          ...withHeaders(`${[route.method].flat().join()} ${route.url}`),
          security: securityOf(access),
          response: withProblem(route.schema),
        } as FastifySchema,
      });
    }
  });
  await document.ready();
  return format(JSON.stringify(document.swagger()));
}

function withHeaders(route: string): { headers?: object } {
  const headers = HEADERS[route];
  return headers === undefined ? {} : { headers };
}

function securityOf(access: Access): Record<string, string[]>[] {
  if ('public' in access) return [];
  return [{ token: [access.scope] }, ...(access.monitoring ? [{ monitoringKey: [] }] : [])];
}

/** Every route can also answer with a problem, whatever its status. */
function withProblem(schema: FastifySchema | undefined): object {
  const answers = (schema?.response ?? {}) as object;
  return {
    ...answers,
    default: { description: 'Problem', content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: 'Problem#' } } } },
  };
}

/** As `npm run check` wants its JSON. */
function format(json: string): string {
  return execFileSync(
    join(ROOT, 'node_modules/.bin/biome'),
    ['format', '--stdin-file-path=docs/openapi.json'],
    { cwd: ROOT, input: json, encoding: 'utf8' },
  );
}

if (import.meta.main) {
  const text = await generateOpenApi();
  if (!process.argv.includes('--check')) writeFileSync(FILE, text);
  else if (readOrEmpty() !== text) {
    console.error('docs/openapi.json is not what the routes say: run `node build/openapi.ts`');
    process.exitCode = 1;
  }
}

function readOrEmpty(): string {
  try {
    return readFileSync(FILE, 'utf8');
  } catch {
    return '';
  }
}
