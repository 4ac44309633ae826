import type { Route } from '../http/route.ts';
import { archiveRoutes } from './archive-routes.ts';
import { recordRoutes } from './record-routes.ts';
import { runRoutes } from './run-routes.ts';
import { tokenRoutes } from './token-routes.ts';

/** Everything under /api/v1 but webhooks. */
export const apiRoutes: readonly Route[] = [...tokenRoutes, ...recordRoutes, ...archiveRoutes, ...runRoutes];
