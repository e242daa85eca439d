package disk

import (
	"context"
	"io"
	"time"
)

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 20 * time.Millisecond

// Wait takes a lock as [Keeper.Lock] does, and waits for it.
//
// Errors: those of Lock, and the cause for which ctx has ended.
func Wait(ctx context.Context, k Keeper, name string, kind LockKind) (io.Closer, error) {
	for {
		lock, ok, err := k.Lock(name, kind)
		if err != nil || ok {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

// Turn waits while another process has its turn with a folder, and keeps others from it
// until next, or the end of the process. Where a system has no locks for folders, nobody
// waits.
//
// Error: the cause for which ctx has ended.
func Turn(ctx context.Context, folder Keeper) (next func(), err error) {
	lock, err := Wait(ctx, folder, ".", OfFolder)
	switch {
	case err == nil:
		return func() { _ = lock.Close() }, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return func() {}, nil
}
