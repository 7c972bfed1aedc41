// What the frontend counts and measures.
#pragma once

#include "lib/metrics.h"

extern struct metric meter_token_cached, meter_token_verified, meter_token_refused;
extern struct metric meter_jwks_fetched, meter_jwks_failed;
extern struct metric meter_submit_accepted, meter_submit_pending, meter_submit_repeated, meter_submit_differs,
	meter_submit_refused, meter_submit_uncertain, meter_submit_limited;
extern struct metric meter_submit_under_way;
extern struct metric meter_ledger_batch, meter_ledger_differing, meter_ledger_bad, meter_ledger_waiting;
extern struct metric meter_followers, meter_followed, meter_follow_live, meter_follow_behind;
extern struct metric meter_connections, meter_told_kept, meter_told_lost;

void meters_register(void);
void meters_request(int status, int64_t took_us); // status 0: the client had gone; took_us -1: of no matter
