import type { Route } from '../http/route.ts';

/** The page for people. */
export const pageRoutes: readonly Route[] = [];
