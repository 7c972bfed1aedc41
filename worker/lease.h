// Staying alive in the ledger: the worker's row, the heartbeat that renews its leases every third of LEASE_S and brings back
// "cancel" and "drain", and giving back what runs under our name without our knowing.
#pragma once

#include "worker/worker.h"

struct lease *lease_new(struct worker *worker) MUST_USE;
void lease_free(struct lease *lease); // NULL is fine; the sessions must be closed
// The heartbeats' session has (re)connected, or the tables have come to exist: register, renew at once.
void lease_connected(struct lease *lease);
// The ledger session has (re)connected, and no claim was sent on it yet: a claim whose answer was lost on the old connection
// may have left jobs under our name that nobody runs. They go back to the queue.
void lease_give_back_strays(struct lease *lease);
bool lease_gives_back(const struct lease *lease); // and the ledger has not said yet that nothing of the kind is left
// A claim was given up whose commit may still come: the same after each of the next heartbeats. So it is, too, where the ledger did
// not take them back.
void lease_doubt(struct lease *lease);
// Everything that still runs under our name goes back to the queue, then our row goes; done is called when the ledger has
// answered, or cannot.
void lease_leave(struct lease *lease, void (*done)(void *arg), void *arg);
