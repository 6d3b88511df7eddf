import { METHODS } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { FUNCTION_NAMES, type FunctionName } from './config.ts';

/**
 * The access rules, deny by default. One rule a line:
 *
 *     allow <callers> <methods> <function> <path>
 *
 * - callers: `*`, or addresses and networks separated by commas (`10.0.0.0/8,::1`)
 * - methods: `*`, or HTTP methods separated by commas (`GET,HEAD`)
 * - function: `pay`, `settle`, `health` or `stats`. It is part of the rule because a function can also be
 *   called by its host name, with any path.
 * - path: exact, in its decoded form; `{name}` stands for one segment, a last `/**` for everything below
 *
 * `#` starts a comment.
 */
export interface Acl {
  readonly rules: readonly Rule[];
}

interface Rule {
  readonly line: number;
  /** Undefined: any. */
  readonly callers: BlockList | undefined;
  /** Undefined: any. */
  readonly methods: ReadonlySet<string> | undefined;
  readonly functionName: FunctionName;
  readonly path: RegExp;
}

export interface AccessRequest {
  readonly caller: string;
  readonly method: string;
  readonly functionName: FunctionName;
  /** Decoded, see `decodePath`. */
  readonly path: string;
}

/** Thrown by `parseAcl`: every wrong line with its reason. */
export class AclError extends Error {
  constructor(problems: readonly string[]) {
    super(problems.join('; '));
    this.name = 'AclError';
  }
}

/** @throws AclError naming each wrong line; a policy without a rule is wrong too, it is likely a torn write. */
export function parseAcl(text: string): Acl {
  const problems: string[] = [];
  const rules = text.split(/\r?\n/).flatMap((content, index): Rule[] => {
    const words = content.replace(/#.*$/, '').trim().split(/\s+/);
    if (words[0] === '') return [];
    const rule = parseRule(words, index + 1);
    if (typeof rule !== 'string') return [rule];
    problems.push(`line ${index + 1}: ${rule}`);
    return [];
  });
  if (problems.length > 0) throw new AclError(problems);
  if (rules.length === 0) throw new AclError(['no rule in the policy']);
  return { rules };
}

/** The line of the rule that allows the request, or undefined: denied. */
export function allowedBy(acl: Acl, request: AccessRequest): number | undefined {
  return acl.rules.find(
    (rule) =>
      rule.functionName === request.functionName &&
      (rule.methods?.has(request.method) ?? true) &&
      rule.path.test(request.path) &&
      (rule.callers === undefined || covers(rule.callers, request.caller)),
  )?.line;
}

function parseRule(words: readonly string[], line: number): Rule | string {
  const [verb, callerText, methodText, functionText, pathText, ...rest] = words;
  if (verb !== 'allow') return `a rule starts with "allow", not "${verb}"`;
  if (!callerText || !methodText || !functionText || !pathText || rest.length > 0) {
    return 'a rule is: allow <callers> <methods> <function> <path>';
  }
  const callers = parseCallers(callerText);
  if (typeof callers === 'string') return callers;
  const methods = parseMethods(methodText);
  if (typeof methods === 'string') return methods;
  const functionName = FUNCTION_NAMES.find((name) => name === functionText);
  if (functionName === undefined) return `"${functionText}" is none of ${FUNCTION_NAMES.join(', ')}`;
  const path = parsePattern(pathText);
  if (typeof path === 'string') return path;
  return { line, callers, methods, functionName, path };
}

function parseCallers(text: string): Rule['callers'] | string {
  if (text === '*') return undefined;
  const callers = new BlockList();
  for (const item of text.split(',')) {
    const [address = '', prefixText, ...rest] = item.split('/');
    const version = isIP(address);
    const bits = version === 4 ? 32 : 128;
    const prefix = prefixText === undefined ? bits : /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : -1;
    if (version === 0 || rest.length > 0 || prefix < 0 || prefix > bits) {
      return `"${item}" is neither *, an address nor a network such as 10.0.0.0/8`;
    }
    callers.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  }
  return callers;
}

function parseMethods(text: string): Rule['methods'] | string {
  if (text === '*') return undefined;
  const methods = text.split(',');
  const unknown = methods.find((method) => !METHODS.includes(method));
  return unknown === undefined
    ? new Set(methods)
    : `"${unknown}" is no HTTP method (upper case, commas between)`;
}

function parsePattern(text: string): RegExp | string {
  const below = text.endsWith('/**');
  const exact = below ? text.slice(0, -'/**'.length) : text;
  if (below ? !/^(\/|$)/.test(exact) : !exact.startsWith('/')) return `"${text}" must start with /`;
  const segments = exact.split('/').slice(1);
  const sources: string[] = [];
  for (const segment of segments) {
    if (/^\{\w+\}$/.test(segment)) sources.push('/[^/]+');
    else if (/[{}*]/.test(segment)) return `"${segment}" must be literal, {name}, or a last **`;
    else sources.push(`/${segment.replace(/[.+?^$()|[\]\\]/g, '\\$&')}`);
  }
  return new RegExp(`^${sources.join('')}${below ? '(?:/.*)?' : ''}$`);
}

function covers(callers: BlockList, caller: string): boolean {
  const version = isIP(caller);
  return version !== 0 && callers.check(caller, version === 4 ? 'ipv4' : 'ipv6');
}
