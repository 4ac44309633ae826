import type { Route } from '../http/route.ts';

export const archiveRoutes: readonly Route[] = [];
