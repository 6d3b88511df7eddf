/** What the tests of rie-instance.ts run: answers the event, or behaves as the event says. */
console.log(JSON.stringify({ loaded: process.pid }));

export const handler = async (event) => {
  console.log(JSON.stringify({ invoked: process.pid }));
  if (event.sleepMs !== undefined) await new Promise((resolve) => setTimeout(resolve, event.sleepMs));
  if (event.exitCode !== undefined) process.exit(event.exitCode);
  return { event, pid: process.pid, env: process.env };
};
