/** Loaded before a program: its clock is wrong by CLOCK_SHIFT_MS from the start, or from the moment on that SIGUSR2 comes with CLOCK_JUMPS=1. */
import process from 'node:process';

const shiftMs = Number(process.env['CLOCK_SHIFT_MS']);
const RealDate = Date;
let offsetMs = process.env['CLOCK_JUMPS'] === '1' ? 0 : shiftMs;
process.on('SIGUSR2', () => {
  offsetMs = shiftMs;
});

globalThis.Date = new Proxy(RealDate, {
  construct: (target, given, newTarget) =>
    Reflect.construct(target, given.length === 0 ? [RealDate.now() + offsetMs] : given, newTarget),
  apply: () => new RealDate(RealDate.now() + offsetMs).toString(),
  get: (target, name, receiver) =>
    name === 'now' ? () => RealDate.now() + offsetMs : Reflect.get(target, name, receiver),
});
