package bench

import (
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
)

// A comparison goes in rounds: ours, theirs, theirs, ours. They last almost half a second together, so that most of it is at the clock that the
// GPU can keep, and are at least 9.
const (
	compareTime  = 0.4  // seconds
	firstTime    = 0.2  // with the library's own choice
	turnTime     = 5e-3 // of one turn, at least
	fewestRounds = 9
	mostRounds   = 60
)

// compare times a library in turns with ours, on the same buffers: the fastest of its ways, and its own first choice where that is another.
func (b *bench) compare(w *Work, r *result.Row, p Partner) error {
	theirs, err := p.Prepare(b.gpu, w.Problem)
	if errors.Is(err, ErrNoPartner) {
		return nil
	}
	ref := &result.Reference{Library: p.Name()}
	r.Reference = ref
	if err != nil {
		ref.Failure = err.Error()
		return nil
	}
	once := r.Times.Median * float64(max(r.Steps, 1))
	begin := monotonic()
	if err := b.turns(w, theirs.Run, once, compareTime, ref); err != nil {
		ref.Failure = err.Error()
		return theirs.Release()
	}
	b.timed = append(b.timed, span{&ref.Conditions, begin, monotonic()})
	if err := b.clockAfter(&ref.Conditions); err != nil {
		ref.Failure = err.Error()
		return theirs.Release()
	}
	if theirs.First != nil {
		// What the library would not have chosen well may fail here without harm to the comparison above.
		first := &result.Reference{}
		if err := b.turns(w, theirs.First, once, firstTime, first); err == nil {
			ref.First = &first.Ratio
		}
	}
	// What the library left in the buffers must not pass for ours.
	return theirs.Release()
}

// turns compares with one way of a library, once it was right: for about so many seconds in all. A run of ours takes about `once`.
func (b *bench) turns(w *Work, run func(n int) error, once, in float64, ref *result.Reference) (err error) {
	if ref.Verified, err = w.Verify(run); err == nil {
		err = ref.Verified.Err()
	}
	if err != nil {
		return fmt.Errorf("wrong result: %w", err)
	}
	theirs := &Work{Run: run, Before: w.Before}
	n := runsFor(once, turnTime)
	other, err := b.clock.batch(theirs, n) // warms up, and says how long it takes
	if err != nil {
		return err
	}
	rounds := int(min(max(in/(2*(once*float64(n)+other)), fewestRounds), mostRounds))
	var a, z []float64
	for range rounds {
		for _, who := range []*Work{w, theirs, theirs, w} {
			t, err := b.clock.batch(who, n)
			if err != nil {
				return err
			}
			if who == w {
				a = append(a, t/float64(n))
			} else {
				z = append(z, t/float64(n))
			}
		}
	}
	ref.Ours, ref.Theirs, ref.Ratio = result.TimesOf(a), result.TimesOf(z), result.RatioOf(a, z)
	return nil
}
