import awsLambdaFastify from '@fastify/aws-lambda';
import type { Context } from 'aws-lambda';
import { buildSubject } from './app.ts';

const app = buildSubject();
const proxy = awsLambdaFastify(app);
await app.ready();

export const handler = (event: unknown, context: Context): Promise<unknown> => proxy(event, context);
