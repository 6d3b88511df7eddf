/** Starts a database, prints its process id, and stays until it is killed; for durability.test.ts. */
import { startDatabase } from '../../../deploy/local/database/start-database.ts';

const database = await startDatabase({ memory: true });
console.log(database.pid);
