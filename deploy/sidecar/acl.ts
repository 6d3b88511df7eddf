import { METHODS } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { FUNCTION_NAMES, type FunctionName } from './config.ts';

/**
 * The access rules, deny by default. One rule a line:
 *
 *     group <name> <places>
 *     allow <callers> <methods> <function> <path>
 *
 * - places: addresses, networks (`10.0.0.0/8,::1`) and groups named above, separated by commas
 * - callers: `*`, or places; `operator@10.0.0.0/8` is the caller of that name there, `operator@*` anywhere. The name is
 *   the one that a request's token claims (`kid`); the function proves the claim, so that a rule can only take away.
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
  /** Any one of them. */
  readonly callers: readonly CallerPattern[];
  /** Undefined: any. */
  readonly methods: ReadonlySet<string> | undefined;
  readonly functionName: FunctionName;
  readonly path: RegExp;
}

interface CallerPattern {
  /** Undefined: any, or none. */
  readonly identity: string | undefined;
  /** Undefined: anywhere. */
  readonly places: BlockList | undefined;
}

export interface AccessRequest {
  readonly caller: string;
  /** Who the token says that it is of; undefined without a token. */
  readonly identity?: string | undefined;
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
  const groups = new Map<string, readonly string[]>();
  const rules = text.split(/\r?\n/).flatMap((content, index): Rule[] => {
    const words = content.replace(/#.*$/, '').trim().split(/\s+/);
    if (words[0] === '') return [];
    const rule = words[0] === 'group' ? addGroup(groups, words) : parseRule(words, index + 1, groups);
    if (rule === undefined) return [];
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
      rule.callers.some((pattern) => covers(pattern, request)),
  )?.line;
}

/** Names of places. */
type Groups = ReadonlyMap<string, readonly string[]>;

/** @returns what is wrong with it */
function addGroup(groups: Map<string, readonly string[]>, words: readonly string[]): string | undefined {
  const [, name = '', list, ...rest] = words;
  if (!/^[a-z][a-z0-9_-]*$/.test(name) || !list || rest.length > 0)
    return 'a group is: group <name> <places>';
  if (groups.has(name)) return `the group "${name}" is there already`;
  const places = list.split(',').flatMap((item) => groups.get(item) ?? [item]);
  const fault = places.map((place) => addPlace(new BlockList(), place)).find((text) => text !== undefined);
  if (fault === undefined) groups.set(name, places);
  return fault;
}

function parseRule(words: readonly string[], line: number, groups: Groups): Rule | string {
  const [verb, callerText, methodText, functionText, pathText, ...rest] = words;
  if (verb !== 'allow') return `a rule starts with "allow", not "${verb}"`;
  if (!callerText || !methodText || !functionText || !pathText || rest.length > 0) {
    return 'a rule is: allow <callers> <methods> <function> <path>';
  }
  const callers = parseCallers(callerText, groups);
  if (typeof callers === 'string') return callers;
  const methods = parseMethods(methodText);
  if (typeof methods === 'string') return methods;
  const functionName = FUNCTION_NAMES.find((name) => name === functionText);
  if (functionName === undefined) return `"${functionText}" is none of ${FUNCTION_NAMES.join(', ')}`;
  const path = parsePattern(pathText);
  if (typeof path === 'string') return path;
  return { line, callers, methods, functionName, path };
}

function parseCallers(text: string, groups: Groups): Rule['callers'] | string {
  const patterns: CallerPattern[] = [];
  for (const item of text.split(',')) {
    const at = item.lastIndexOf('@');
    const identity = at < 0 ? undefined : item.slice(0, at);
    if (identity === '') return `"${item}" names nobody before its @`;
    const place = item.slice(at + 1);
    const places = place === '*' ? undefined : new BlockList();
    for (const one of place === '*' ? [] : (groups.get(place) ?? [place])) {
      const fault = places && addPlace(places, one);
      if (fault !== undefined) return fault;
    }
    patterns.push({ identity, places });
  }
  return patterns;
}

/** @returns what is wrong with it */
function addPlace(places: BlockList, text: string): string | undefined {
  const [address = '', prefixText, ...rest] = text.split('/');
  const version = isIP(address);
  const bits = version === 4 ? 32 : 128;
  const prefix = prefixText === undefined ? bits : /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : -1;
  if (version === 0 || rest.length > 0 || prefix < 0 || prefix > bits) {
    return `"${text}" is neither *, an address, a network such as 10.0.0.0/8, nor a group named above`;
  }
  places.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  return undefined;
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

function covers({ identity, places }: CallerPattern, request: AccessRequest): boolean {
  if (identity !== undefined && identity !== request.identity) return false;
  if (places === undefined) return true;
  const version = isIP(request.caller);
  return version !== 0 && places.check(request.caller, version === 4 ? 'ipv4' : 'ipv6');
}
