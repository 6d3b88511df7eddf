/** Segments of unreserved and sub-delimiter characters, none of them empty, `.` or `..`: needs no decoding. */
const PLAIN = /^(?=\/)(?:\/(?!\.{1,2}(?:\/|$))[\w\-.~!$&'()*+,;=:@]+)*\/?$/;
/** Printable ASCII without the characters that parsers disagree about. */
const VISIBLE = /^[\x21-\x7e]*$/;

/**
 * Decodes a request path the way the functions' router will, so that routing and access rules judge the path
 * that the function sees. Answers undefined for every path on which two readers could differ: empty or dot
 * segments, encoded separators, double encoding, control characters, encodings that are not UTF-8.
 */
export function decodePath(rawPath: string): string | undefined {
  if (PLAIN.test(rawPath)) return rawPath;
  if (!rawPath.includes('%') || /%(?:2f|5c)/i.test(rawPath)) return undefined;
  let path: string;
  try {
    path = decodeURIComponent(rawPath);
  } catch {
    return undefined;
  }
  const segments = path.split('/').slice(1);
  const ambiguous = segments.some(
    (segment, index) =>
      segment === '.' || segment === '..' || (segment === '' && index < segments.length - 1),
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
  if (ambiguous || !path.startsWith('/') || /[\x00-\x1f\x7f\\?#]|%[0-9a-f]{2}/i.test(path)) return undefined;
  // What is not escaped must be a character that a path may hold.
  return PLAIN.test(rawPath.replace(/%[0-9a-f]{2}/gi, 'x')) ? path : undefined;
}

/** A request target in its two halves, as they came; undefined when it is not a path with a query. */
export function splitTarget(target: string): { rawPath: string; rawQuery: string } | undefined {
  if (!target.startsWith('/') || !VISIBLE.test(target) || target.includes('#')) return undefined;
  const mark = target.indexOf('?');
  return mark === -1
    ? { rawPath: target, rawQuery: '' }
    : { rawPath: target.slice(0, mark), rawQuery: target.slice(mark + 1) };
}
