package cuda

import "errors"

type peerCalls struct {
	ctxEnablePeer  func(peer word, flags uint32) rc `cuda:"cuCtxEnablePeerAccess"`
	ctxDisablePeer func(peer word) rc               `cuda:"cuCtxDisablePeerAccess"`
}

// ErrPeerEnabled is the result of enabling what is enabled already.
const ErrPeerEnabled Result = 704

// EnablePeer lets the current context reach the memory of another GPU's context directly: copies between the two take the link between
// the GPUs, where there is one, instead of going through host memory. That it is enabled already is no error.
func (d *Driver) EnablePeer(peer *Context) error {
	err := d.check("cuCtxEnablePeerAccess", d.fn.ctxEnablePeer(peer.handle, 0))
	if errors.Is(err, ErrPeerEnabled) {
		return nil
	}
	return err
}

// DisablePeer undoes EnablePeer.
func (d *Driver) DisablePeer(peer *Context) error {
	return d.check("cuCtxDisablePeerAccess", d.fn.ctxDisablePeer(peer.handle))
}
