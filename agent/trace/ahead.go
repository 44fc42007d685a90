package trace

import "sync"

// ahead decodes frames before they are asked for, several at a time, and delivers them in order.
type ahead struct {
	jobs chan *job // in the order of the file
	free chan *job
	quit chan struct{}
	done sync.WaitGroup
	last *job
	err  error
}

// job is one frame being decoded, with the memory for it.
type job struct {
	decoded
	decoder *decoder
	ready   chan struct{}
	err     error // of the source
}

// startAhead reads src with n frames in work.
func startAhead(src frames, n int) (*ahead, error) {
	a := &ahead{jobs: make(chan *job, n+1), free: make(chan *job, n+1), quit: make(chan struct{})}
	for range n + 1 { // one is in the hands of the caller
		d, err := newDecoder()
		if err != nil {
			for len(a.free) > 0 {
				(<-a.free).decoder.close()
			}
			return nil, err
		}
		a.free <- &job{decoder: d, ready: make(chan struct{}, 1)}
	}
	a.done.Add(1)
	go a.pump(src)
	return a, nil
}

// pump reads frames and has each decoded on a goroutine of its own.
func (a *ahead) pump(src frames) {
	defer a.done.Done()
	defer close(a.jobs)
	for {
		var j *job
		select {
		case j = <-a.free:
		case <-a.quit:
			return
		}
		j.err = a.fetch(src, j)
		if j.err != nil {
			j.ready <- struct{}{}
			a.jobs <- j // never blocks: there is room for every job
			return
		}
		a.done.Add(1)
		go func() {
			defer a.done.Done()
			j.decode(j.decoder)
			j.ready <- struct{}{}
		}()
		a.jobs <- j
	}
}

// fetch reads the next frame that is wanted into j.
func (a *ahead) fetch(src frames, j *job) error {
	for {
		f, err := src.next()
		if err != nil {
			return err
		}
		if kinds, ok := src.wants(&f); ok {
			// The source reuses its buffer for the next frame.
			f.stored = append(j.stored[:0], f.stored...)
			j.rawFrame, j.only = f, kinds
			return nil
		}
		select {
		case <-a.quit:
			return ErrClosed
		default:
		}
	}
}

// next returns the next decoded frame, valid until the next call.
func (a *ahead) next() (*decoded, error) {
	if a.err != nil {
		return nil, a.err
	}
	if a.last != nil {
		a.free <- a.last
		a.last = nil
	}
	j, ok := <-a.jobs
	if !ok {
		return nil, ErrClosed
	}
	<-j.ready
	a.last = j
	if j.err != nil {
		a.err = j.err
		return nil, a.err
	}
	return &j.decoded, nil
}

// stop ends all goroutines.
func (a *ahead) stop() {
	close(a.quit)
	a.done.Wait()
	for j := range a.jobs {
		j.decoder.close()
	}
	for len(a.free) > 0 {
		(<-a.free).decoder.close()
	}
	if a.last != nil {
		a.last.decoder.close()
	}
}
