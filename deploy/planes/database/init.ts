const missing = ['MONGO_HOST', 'MONGO_DATABASE'].filter((name) => !process.env[name]);
process.stderr.write(
  `database-init prepares nothing yet${missing.length > 0 ? `, and is not told ${missing.join(', ')}` : ''}\n`,
);
process.exit(78);
