/** Tells whether the way out is there, without going out. */
export interface ProxyProbe {
  /**
   * Resolves once the proxy has answered.
   * @throws Error whose message says in plain words what it did instead
   */
  greet(): Promise<void>;
}
