import fc from 'fast-check';

// A thousand mutants meet the properties, so each has a quarter of a second; and the same seed, so that a score can be
// compared with the last one.
fc.configureGlobal({ seed: 1, interruptAfterTimeLimit: 250 });
