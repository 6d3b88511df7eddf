import { randomUUID } from 'node:crypto';
import { awsLambdaFastify } from '@fastify/aws-lambda';
import middy from '@middy/core';
import type { Context } from 'aws-lambda';
import { ServiceError } from '../domain/errors.ts';
import type { App } from './app.ts';
import { type ConfigWith, type Need, readConfig } from './config.ts';
import { ConfigError } from './config-error.ts';
import { bareError } from './error-description.ts';
import { currentInvocation, type Invocation, noteInvocation, runInvocation } from './invocation.ts';
import { createLogger, type Logger, scrubber, secretsIn } from './logger.ts';
import { allowedDestinations, guardOutward } from './outward-guard.ts';
import { toProblem } from './problem-details.ts';

/** What a function is made of, once its cold start is over. */
export interface FunctionParts {
  readonly app: App;
  /** Takes every event that is no HTTP request; the sidecar's schedule, or EventBridge. */
  readonly onSchedule?: (event: unknown) => Promise<unknown>;
}

const FUNCTION_NAMES = ['pay', 'settle', 'health', 'stats'] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

export interface FunctionDefinition<N extends Need> {
  readonly name: FunctionName;
  /** The secrets that this function uses. */
  readonly needs: readonly N[];
  /** Wires the adapters. Runs once a cold start. */
  build(parts: { readonly config: ConfigWith<N>; readonly logger: Logger }): Promise<FunctionParts>;
}

/** Exactly two parameters: the runtime client refuses a handler that has three or more. */
export type Handler = (event: unknown, context: Context) => Promise<unknown>;

/**
 * The invocation is answered this long before Lambda would cut it off: a cut-off shows the caller a bare text,
 * this a problem document that says what to do.
 */
const ANSWER_BEFORE_END_MS = 500;

/**
 * A cold start: reads the configuration once and builds the function.
 * @throws ConfigError after one line in the log has named every problem; the runtime then reports a failed start.
 *   Whatever else goes wrong is told in one line too, and thrown without the secrets that it may hold: the runtime
 *   prints it whole
 */
export async function startFunction<const N extends Need>(
  definition: FunctionDefinition<N>,
): Promise<Handler> {
  // The build primes the compile cache with this: the code is loaded, nothing is read or connected.
  if (process.env.TPF_PRIME_ONLY === '1') {
    return async () => {
      throw new Error('this process was started to prime the compile cache');
    };
  }
  const config = readConfigOrTell(definition);
  const secrets = secretsIn(config);
  const logger = createLogger({
    level: config.log.level,
    format: config.log.format,
    service: config.service.name,
    functionName: definition.name,
    secrets,
  });
  for (const warning of config.warnings) logger.warn({}, warning);
  const onUncaught = dieAfterOneLine(logger);
  guardOutward(allowedDestinations(config, process.env.AWS_LAMBDA_RUNTIME_API), (refused) =>
    logger.error({ ...refused }, 'refused to dial: this is neither the proxy nor the database'),
  );
  try {
    return await createHandler(
      definition.name,
      await definition.build({ config, logger }),
      logger,
      scrubber(secrets),
    );
  } catch (error) {
    process.off('uncaughtException', onUncaught);
    if (error instanceof ConfigError) {
      tellProblems(logger, error);
      throw error;
    }
    logger.fatal({ error }, 'the function cannot start');
    throw bareError(error, scrubber(secrets));
  }
}

/** What nobody caught ends the process, as it would anyway; but Node prints such an error whole. */
function dieAfterOneLine(logger: Logger): (error: unknown) => void {
  const onUncaught = (error: unknown) => {
    logger.fatal({ error }, 'nobody caught this error; the process ends');
    process.exit(1);
  };
  process.on('uncaughtException', onUncaught);
  return onUncaught;
}

/**
 * Puts the stack around an application: one log line an invocation, errors told, an answer before time is up.
 * @param clean blots out what must not stand in the error with which an invocation fails
 */
export async function createHandler(
  name: FunctionName,
  parts: FunctionParts,
  logger: Logger,
  clean = scrubber([]),
): Promise<Handler> {
  // The event is not handed through headers, and a comma in a query value is a comma.
  const answerHttp = awsLambdaFastify(parts.app, {
    decorateRequest: false,
    parseCommaSeparatedQueryParams: false,
  });
  await parts.app.ready();

  const stack = middy({ timeoutEarlyInMillis: ANSWER_BEFORE_END_MS, timeoutEarlyResponse: endEarly })
    .use(logInvocation(logger, clean))
    .handler(async (event: unknown, context: Context) => {
      refuseMisdirected(event, name);
      if (isHttp(event)) return await answerHttp(event, context);
      if (parts.onSchedule === undefined) throw new Error('this function takes HTTP events only');
      return await parts.onSchedule(event);
    });

  return (event, context) => runInvocation(beginInvocation(event, context), () => stack(event, context));
}

function readConfigOrTell<N extends Need>(definition: FunctionDefinition<N>): ConfigWith<N> {
  try {
    return readConfig(process.env, { needs: definition.needs });
  } catch (error) {
    if (error instanceof ConfigError) {
      const logger = createLogger({
        level: 'info',
        format: 'json',
        service: process.env.SERVICE_NAME || 'tron-payment-service',
        functionName: definition.name,
      });
      tellProblems(logger, error);
    }
    throw error;
  }
}

function tellProblems(logger: Logger, { problems }: ConfigError): void {
  logger.fatal({ problems }, 'the configuration is wrong; the function cannot start');
}

/** A function URL's event, payload format 2.0, as far as it is looked at here. */
interface HttpEvent {
  readonly requestContext: {
    readonly apiId?: unknown;
    readonly requestId?: string;
    readonly http: { readonly method: string };
  };
}

function isHttp(event: unknown): event is HttpEvent {
  if (typeof event !== 'object' || event === null || !('requestContext' in event)) return false;
  const { requestContext } = event;
  return typeof requestContext === 'object' && requestContext !== null && 'http' in requestContext;
}

function beginInvocation(event: unknown, context: Context): Invocation {
  if (!isHttp(event)) return { requestId: context.awsRequestId || randomUUID(), route: 'schedule' };
  return {
    requestId: event.requestContext.requestId || context.awsRequestId || randomUUID(),
    method: event.requestContext.http.method,
  };
}

/** The rules of the sidecar's schedule; no rule of EventBridge is called so. */
const SCHEDULE_RULE = 'arn:aws:events:local:000000000000:rule/';

/**
 * A container can take over the address of another function's container while the sidecar still invokes the latter.
 * The sidecar's events name the function that they are for; what comes from elsewhere names none of these.
 * @throws ServiceError misdirected: the sidecar takes it to another instance
 */
function refuseMisdirected(event: unknown, name: FunctionName): void {
  const target = targetOf(event);
  const other = FUNCTION_NAMES.find((known) => known !== name && known === target);
  if (other === undefined) return;
  throw new ServiceError('misdirected', `This is ${name}; the event is for ${other}. Nothing was done.`);
}

function targetOf(event: unknown): unknown {
  if (isHttp(event)) return event.requestContext.apiId;
  if (typeof event !== 'object' || event === null || !('resources' in event)) return undefined;
  const rule: unknown = Array.isArray(event.resources) ? event.resources[0] : undefined;
  return typeof rule === 'string' && rule.startsWith(SCHEDULE_RULE)
    ? rule.slice(SCHEDULE_RULE.length)
    : undefined;
}

/** Thrown by middy in place of an answer. The work may still end after it: nothing is known to have failed. */
function endEarly(): never {
  throw new ServiceError(
    'outcome_unknown',
    'The request took too long and may still take effect. Ask again with the same idempotency key.',
  );
}

/** The one line an invocation, whatever became of it. */
function logInvocation(logger: Logger, clean: (text: string) => string): middy.MiddlewareObj {
  const startedAtMs = new WeakMap<object, number>();
  let cold = true;
  const tell = (request: middy.Request): void => {
    const { error, ...fields } = currentInvocation() ?? { requestId: 'unknown' };
    const durationMs = Math.round((performance.now() - (startedAtMs.get(request) ?? 0)) * 10) / 10;
    const line = {
      ...fields,
      durationMs,
      ...(cold ? { cold } : {}),
      ...(error === undefined ? {} : { error }),
    };
    cold = false;
    const failed = request.error !== undefined && request.error !== null;
    if (failed || (fields.status ?? 200) >= 500) logger.error(line, 'invocation failed');
    else logger.info(line, 'invocation');
  };
  return {
    before(request) {
      startedAtMs.set(request, performance.now());
    },
    after: tell,
    onError(request) {
      // Only a run of the schedule may fail as a function: its owner reads that.
      const problem = toProblem(request.error, currentInvocation()?.requestId ?? 'unknown');
      noteInvocation({ code: problem.body.code, error: request.error });
      if (isHttp(request.event) || problem.body.code === 'misdirected') {
        noteInvocation({ status: problem.status });
        request.response = {
          statusCode: problem.status,
          headers: problem.headers,
          body: JSON.stringify(problem.body),
        };
      }
      tell(request);
      // The runtime client prints and hands on what is thrown, its members included.
      if (request.response === undefined) request.error = bareError(request.error, clean);
    },
  };
}
