import type { PortWrapper } from '../../shared/composition/compose-engine.ts';

/**
 * Wraps ports so that `before` runs just before each of their calls and `after` just after it, with the call's name.
 * What they throw ends the call, and it waits for what `before` promises.
 */
export function atEachCall(
  before: (name: string) => void | Promise<void>,
  after: (name: string) => void = () => {},
): PortWrapper {
  return (port) =>
    new Proxy(port, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          // Not awaited where there is nothing to wait for: a call would come a turn later than without us.
          const wait = before(String(name));
          if (wait !== undefined) await wait;
          const result: unknown = await Reflect.apply(member, target, args);
          after(String(name));
          return result;
        };
      },
    });
}
