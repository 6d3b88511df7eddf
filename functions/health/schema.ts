import * as Type from 'typebox';

const Status = Type.Enum(['healthy', 'unhealthy']);

const Check = Type.Object(
  {
    status: Status,
    latency_ms: Type.Number({ minimum: 0, description: 'How long the check took.' }),
    reason: Type.String({ description: 'What was found, in plain words, good or bad.' }),
  },
  { additionalProperties: false },
);

export const HealthAnswer = Type.Object(
  {
    status: Status,
    checks: Type.Object(
      { mongo: Check, tron: Check, tor: Check, circuit_breaker: Check, wallet: Check, audit: Check },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false, title: 'Health' },
);
export type HealthAnswer = Type.Static<typeof HealthAnswer>;

export const LiveAnswer = Type.Object(
  { status: Type.Literal('healthy') },
  { additionalProperties: false, title: 'Liveness' },
);

export const ReadyAnswer = Type.Object(
  { status: Status, checks: Type.Object({ mongo: Check }, { additionalProperties: false }) },
  { additionalProperties: false, title: 'Readiness' },
);
export type ReadyAnswer = Type.Static<typeof ReadyAnswer>;

export const healthSchema = {
  operationId: 'readHealth',
  summary: 'Whether everything that paying depends on works',
  tags: ['health'],
  response: { 200: HealthAnswer, 503: HealthAnswer },
} as const;

export const liveSchema = {
  operationId: 'readLiveness',
  summary: 'Whether the process serves requests at all',
  tags: ['health'],
  response: { 200: LiveAnswer },
} as const;

export const readySchema = {
  operationId: 'readReadiness',
  summary: 'Whether requests can be taken: the configuration is read, the database answers',
  tags: ['health'],
  response: { 200: ReadyAnswer, 503: ReadyAnswer },
} as const;
