package cli

import (
	"strings"

	"github.com/warpscope/warpscope/agent/ceilings"
)

// ceilings returns what is known of a GPU: what was measured on it and saved here, and its datasheet. A trace's UUID
// that cannot be one has no measurements.
func (i *inspection) ceilings(uuid, product string) (ceilings.GPU, error) {
	store, err := ceilingStore(i.env)
	if err != nil || !strings.HasPrefix(uuid, "GPU-") && !strings.HasPrefix(uuid, "MIG-") {
		uuid = ""
	}
	return store.Of(uuid, product)
}
