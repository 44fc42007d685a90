package trace

import (
	"math/rand/v2"
	"reflect"

	"github.com/warpscope/warpscope/agent/event"
)

// randomBatch fills every column of every kind of event, found by reflection, so that a column
// that the schema forgets shows as a difference after a round trip. Each kind gets 0..rows rows.
func randomBatch(rng *rand.Rand, rows int) *event.Batch {
	b := &event.Batch{Process: event.ProcessID(1 + rng.IntN(3))}
	v := reflect.ValueOf(b).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Struct {
			randomTable(rng, v.Field(i), rng.IntN(rows+1))
		}
	}
	return b
}

// randomTable fills all columns of one kind with n rows.
func randomTable(rng *rand.Rand, table reflect.Value, n int) {
	for i := range table.NumField() {
		column := reflect.MakeSlice(table.Field(i).Type(), n, n)
		style := rng.IntN(6)
		last := rng.Uint64()
		for r := range n {
			switch style {
			case 0: // constant
			case 1: // anything
				last = rng.Uint64()
			case 2: // sequential
				last++
			case 3: // small
				last = rng.Uint64N(5)
			case 4: // around a value
				last += rng.Uint64N(2000) - 1000
			case 5: // extremes
				last = []uint64{0, 1, 1<<63 - 1, 1 << 63, ^uint64(0)}[rng.IntN(5)]
			}
			cell := column.Index(r)
			switch cell.Kind() {
			case reflect.Bool:
				cell.SetBool(last&1 == 1)
			case reflect.Int32, reflect.Int64:
				cell.SetInt(int64(last) >> (64 - cell.Type().Bits()))
			default:
				cell.SetUint(last >> (64 - cell.Type().Bits()))
			}
			if cell.Type() == reflect.TypeFor[event.Time]() {
				cell.SetInt(cell.Int() & (1<<50 - 1)) // a time is not negative
			}
		}
		table.Field(i).Set(column)
	}
}

// same compares batches; an absent column equals an empty one.
func same(a, b any) bool {
	return sameValue(reflect.ValueOf(a), reflect.ValueOf(b))
}

func sameValue(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		return sameValue(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() == 0 && b.Len() == 0 {
			return true
		}
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
