import { FUNCTION_NAMES, type FunctionName } from './config.ts';

const HOST_SUFFIX = '.lambda-url.localhost';

/**
 * Chooses the function of a request. A host name of the form `pay.lambda-url.localhost` gives that function
 * the whole path space; under every other name the path decides. Undefined: nobody's.
 */
export function chooseFunction(hostname: string, path: string): FunctionName | undefined {
  if (hostname.endsWith(HOST_SUFFIX)) {
    const label = hostname.slice(0, -HOST_SUFFIX.length);
    return FUNCTION_NAMES.find((name) => name === label);
  }
  if (path === '/pay' || path.startsWith('/pay/')) return 'pay';
  if (path === '/health' || path.startsWith('/health/')) return 'health';
  if (path === '/stats' || path === '/metrics') return 'stats';
  if (path === '/settle') return 'settle';
  return undefined;
}

/** A `Host` header without its port, in lower case; undefined when it is malformed. */
export function hostnameOf(host: string): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?\.?)(?::\d{1,5})?$/i.exec(host);
  return match?.[1]?.toLowerCase();
}
