/** An operator's brake that works without the database: while it is set, no new payment is taken or signed. */
export interface StopSwitch {
  isSet(): Promise<boolean>;
}
