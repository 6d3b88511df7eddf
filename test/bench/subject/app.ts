import fastify, { type FastifyInstance } from 'fastify';

/** The smallest app that does what every function does: take JSON, answer JSON. All ways in measure this one. */
export function buildSubject(): FastifyInstance {
  const app = fastify();
  app.post('/pay', (request) => ({ received: request.body }));
  return app;
}
