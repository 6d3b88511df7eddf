import { randomUUID } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  fastify,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
  type RouteOptions,
} from 'fastify';
import { ServiceError } from '../domain/errors.ts';
import { type Authenticator, type Identity, requireBound, requireScope } from './auth.ts';
import type { Scope } from './config-secrets.ts';
import { currentInvocation, noteInvocation } from './invocation.ts';
import { type ProblemResponse, toProblem } from './problem-details.ts';
import { JsonFault, parseStrictJson } from './strict-json.ts';
import { findFault } from './validation.ts';

/** A fastify application whose schemas are TypeBox types. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression<RawServerDefault>,
  RawReplyDefaultExpression<RawServerDefault>,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** Who may use a route. Every route must say one of the two; a route that says nothing fails to register. */
export type Access =
  | { readonly public: true }
  | {
      readonly scope: Scope;
      /** Whether the monitoring key opens it as well. */
      readonly monitoring?: boolean;
    };

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    /** Who calls; null on public routes. */
    identity: Identity | null;
    /** The body's bytes as they came; empty where there is none. */
    rawBody: Buffer;
  }
}

export interface AppOptions {
  /** Left out by functions whose routes are all public. */
  readonly authenticator?: Authenticator;
  /** The largest body in bytes. A batch of 100 payments has some 20 kB. */
  readonly bodyLimitBytes?: number;
}

const BODY_LIMIT_BYTES = 65_536;
const NO_BODY = Buffer.alloc(0);

/**
 * The standard compilers load ajv twice over and generate code, which is a large part of a cold start. Bodies
 * here are small, so schemas are judged as they stand; and answers need no schema while they run, for their
 * types were checked by the compiler.
 * The cast: fastify calls this with a route's definition, while its types show the signature of ajv itself.
 */
const LEAN_COMPILERS = {
  compilersFactory: {
    buildValidator:
      () =>
      ({ schema }: { readonly schema: object }) =>
      (value: unknown) => {
        const fault = findFault(schema, value);
        return fault === null ? { value } : { error: fault };
      },
    buildSerializer: () => () => JSON.stringify,
  },
} as unknown as NonNullable<FastifyServerOptions['schemaController']>;

/** Builds the application that all functions share; each adds its routes and nothing else. */
export function createApp(options: AppOptions = {}): App {
  const app = fastify({
    logger: false,
    bodyLimit: options.bodyLimitBytes ?? BODY_LIMIT_BYTES,
    exposeHeadRoutes: false,
    genReqId: () => currentInvocation()?.requestId ?? randomUUID(),
    frameworkErrors: (_error: unknown, request: FastifyRequest, reply: FastifyReply) => {
      const problem = toProblem(new ServiceError('route_not_found', 'The path cannot be read.'), request.id);
      sendProblem(reply, problem);
    },
    schemaController: LEAN_COMPILERS,
  }).withTypeProvider<TypeBoxTypeProvider>();

  keepRoutes(app);
  app.decorateRequest('identity', null);
  app.decorateRequest('rawBody');
  takeJsonOnly(app);
  guardRoutes(app, options.authenticator);
  answerErrors(app);
  return app;
}

const routesByApp = new WeakMap<App, RouteOptions[]>();

/** Every route of an application, as it was registered: the OpenAPI document is made from these. */
export function listRoutes(app: App): readonly RouteOptions[] {
  return routesByApp.get(app) ?? [];
}

function keepRoutes(app: App): void {
  const routes: RouteOptions[] = [];
  routesByApp.set(app, routes);
  app.addHook('onRoute', (route) => {
    routes.push(route);
  });
}

function takeJsonOnly(app: App): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request: FastifyRequest, body, done) => {
      request.rawBody = body;
      const charset = /;\s*charset="?([^";\s]+)/i.exec(request.headers['content-type'] ?? '')?.[1];
      if (charset !== undefined && charset.toLowerCase() !== 'utf-8') {
        done(new ServiceError('media_type_unsupported', 'The body must be JSON in UTF-8.'), undefined);
        return;
      }
      try {
        done(null, parseStrictJson(body));
      } catch (error) {
        if (!(error instanceof JsonFault)) throw error;
        done(new ServiceError('body_invalid', `The body ${error.message}.`), undefined);
      }
    },
  );
}

function guardRoutes(app: App, authenticator: Authenticator | undefined): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.access === undefined) throw new Error(`${method} ${url} does not say who may use it`);
    if ('scope' in config.access && authenticator === undefined) {
      throw new Error(`${method} ${url} needs an authenticator`);
    }
  });

  // Before the body is parsed: who cannot prove a name does not get to feed the parser.
  app.addHook('onRequest', async (request) => {
    request.rawBody = NO_BODY;
    noteInvocation({ method: request.method, route: request.routeOptions.url ?? 'none' });
    const access = request.routeOptions.config.access;
    if (request.is404 || access === undefined || 'public' in access || authenticator === undefined) return;
    const identity = await authenticator.identify(
      {
        authorization: request.headers.authorization,
        internalAuth: oneHeader(request, 'x-internal-auth'),
      },
      access.monitoring === true && request.method === 'GET',
    );
    noteInvocation({ caller: identity.caller });
    requireScope(identity, access.scope);
    request.identity = identity;
  });

  // After the body was read, before anybody looks at what it says.
  app.addHook('preValidation', async (request) => {
    if (request.identity === null || request.is404) return;
    // A GET needs no binding; but a token that is bound is good for its own request alone.
    if (request.method === 'GET' && request.identity.requestHash === null) return;
    requireBound(request.identity, {
      method: request.method,
      // With the query, so that none can be added to a request.
      path: request.url,
      idempotencyKey: oneHeader(request, 'idempotency-key') ?? '',
      body: request.rawBody,
    });
  });
}

function answerErrors(app: App): void {
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const methods = listRoutes(app)
      .filter(({ url }) => pathPattern(url).test(path))
      .flatMap(({ method }) => method);
    if (methods.length === 0) throw new ServiceError('route_not_found', 'There is no such route.');
    void reply.header('allow', [...new Set(methods)].join(', '));
    throw new ServiceError('method_not_allowed', `This route does not know ${request.method}.`);
  });

  app.setErrorHandler((error: unknown, request, reply) => {
    const told = asServiceError(error);
    const problem = toProblem(told, request.id);
    noteInvocation({ code: problem.body.code, error: told instanceof ServiceError ? told.cause : told });
    sendProblem(reply, problem);
  });

  app.addHook('onSend', async (request, reply) => {
    void reply.header('x-request-id', request.id);
    noteInvocation({ status: reply.statusCode });
  });
}

/** A route's path with its parameters, `/pay/:id`, as a pattern for whole paths. */
function pathPattern(url: string): RegExp {
  return new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`);
}

/** As bytes: to a text fastify would add a charset, which JSON media types do not have (RFC 8259). */
function sendProblem(reply: FastifyReply, problem: ProblemResponse): void {
  void reply
    .code(problem.status)
    .headers(problem.headers)
    .send(Buffer.from(JSON.stringify(problem.body)));
}

/** Fastify's own errors about a request, in our words. Whatever is not known here is a mistake of ours. */
function asServiceError(error: unknown): unknown {
  if (error instanceof ServiceError || !(error instanceof Error) || !('code' in error)) return error;
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ServiceError('media_type_unsupported', 'The body must be JSON (application/json).');
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ServiceError('body_too_large', 'The body is too large.');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ServiceError('body_invalid', 'The body is not as long as Content-Length says.');
    default:
      return error;
  }
}

/** A header's value; several lines of it are joined, as function URLs do, and then fit no form of ours. */
function oneHeader(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}
