/** The subject without Lambda around it, on the loopback port that it is told. */
import { buildSubject } from './app.ts';

await buildSubject().listen({ host: '127.0.0.1', port: Number(process.argv[2]) });
