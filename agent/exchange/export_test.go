package exchange

// Waiting returns o with another bound of the rows that wait for their turn.
func Waiting(o Options, rows int) Options {
	o.waiting = rows
	return o
}

// MaxValue is how large an event may be to be looked into.
const MaxValue = maxValue
