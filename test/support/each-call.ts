import type { PortWrapper } from '../../shared/composition/compose-engine.ts';

/** Wraps ports so that `step` runs just before and just after each of their calls; what it throws ends the call. */
export function atEachCall(step: () => void): PortWrapper {
  return (port) =>
    new Proxy(port, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          step();
          const result: unknown = await Reflect.apply(member, target, args);
          step();
          return result;
        };
      },
    });
}
