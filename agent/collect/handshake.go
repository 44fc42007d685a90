package collect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/cupti/abi"
)

const (
	// handshakeTime bounds how long a peer may take to say hello.
	handshakeTime = 2 * time.Second
	// maxHandshakes bounds how many peers may be saying hello at once.
	maxHandshakes = 64
)

// accept takes in peers until the listener is closed.
func (s *Server) accept() {
	defer s.work.Done()
	slots := make(chan struct{}, maxHandshakes)
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// No descriptors left, or a peer that gave up: neither should end the collection.
			select {
			case <-s.closing:
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		slots <- struct{}{}
		s.work.Add(1)
		go func() {
			defer func() {
				_ = conn.Close() // the answer is sent, or never will be
				<-slots
				s.work.Done()
			}()
			if err := s.welcome(conn); err != nil {
				s.note("%v", err)
			}
		}()
	}
}

// welcome checks a peer and gives it its memory.
func (s *Server) welcome(conn *net.UnixConn) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return fmt.Errorf("welcome a process: %w", err)
	}
	peer, err := credentials(conn)
	if err != nil {
		return fmt.Errorf("welcome a process: %w", err)
	}
	if peer.Uid != uint32(os.Geteuid()) && peer.Uid != 0 {
		return fmt.Errorf("refused process %d: it belongs to user %d", peer.Pid, peer.Uid)
	}
	var message [unsafe.Sizeof(abi.Hello{})]byte
	n, err := conn.Read(message[:])
	if err != nil {
		return fmt.Errorf("welcome process %d: read hello: %w", peer.Pid, err)
	}
	hello := readAs[abi.Hello](message[:])
	switch {
	case n != len(message) || hello.Magic != abi.AbiMagic:
		return fmt.Errorf("refused process %d: it does not speak warpscope's protocol", peer.Pid)
	case hello.Version != abi.AbiVersion:
		return fmt.Errorf("refused process %d: its capture library has ABI version %d, this agent %d", peer.Pid, hello.Version, abi.AbiVersion)
	}

	who := owner{pid: peer.Pid, rank: -1}
	if who.pid > 0 {
		_, _, who.parent, _ = readStat(who.pid)
		who.rank = readRank(who.pid)
		who.root = foreignRoot(who.pid)
	}
	p, err := newProcess(s, who, hello.Pid)
	if err != nil {
		return fmt.Errorf("welcome process %d: %w", peer.Pid, err)
	}
	paused := uint32(1)
	if s.timeline.Load() {
		paused = 0
	}
	sizes := s.config.Sizes
	answer := abi.Welcome{
		Magic: abi.AbiMagic, Abi_version: abi.AbiVersion,
		Mode: uint32(s.config.Mode), Api: uint32(s.config.API), Graphs: uint32(s.config.Graphs),
		Start_paused: paused,
		Alloc_ring:   sizes.AllocRing, Timeline_ring: sizes.TimelineRing,
		Live_table: sizes.LiveTable, Arena: sizes.Arena,
	}
	s.config.Trigger.welcome(&answer)
	if s.config.Ruler != nil {
		answer.Ruler = 1
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer))
	if _, _, err := conn.WriteMsgUnix(bytes, unix.UnixRights(p.fd), nil); err != nil {
		p.life.close()
		p.release()
		return fmt.Errorf("welcome process %d: %w", peer.Pid, err)
	}
	if !s.add(p) {
		p.life.close()
		p.release()
		return fmt.Errorf("refused process %d: %d processes are in this trace already", peer.Pid, maxProcesses)
	}
	return nil
}

// add begins to read a process; false: there are too many.
func (s *Server) add(p *process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.processes) >= maxProcesses {
		return false
	}
	// The same process again: it executed another program, and the memory of the first is final.
	for _, old := range s.processes {
		if old.owner.pid == p.owner.pid && p.owner.pid > 0 {
			old.replace()
		}
	}
	s.processes = append(s.processes, p)
	go p.run()
	return true
}

// credentials returns who the kernel says the peer is.
func credentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return peer, failed
}
