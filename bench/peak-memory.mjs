// Preloaded into a measured program: notes its peak of resident memory, as the kernel kept it, when it ends. The figure
// that getrusage gives would include that of the process which started it.
import { readFileSync, writeFileSync } from 'node:fs';

process.on('exit', () => {
  const path = process.env.BENCH_PEAK_FILE;
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  if (path && peak) writeFileSync(path, String(Number(peak[1]) / 1024));
});
