import type { ServiceTable } from '../tables.ts';

export const outboxTables: readonly ServiceTable[] = [];
