package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
)

// The limits: plain programs that do what must be done, and nothing else.

// bufferSize is what a core's cache holds beside the rest.
const bufferSize = 256 << 10

// plainHash hashes the blobs of a layout from their files, one goroutine a core.
func plainHash(dir string) error {
	return eachBlob(dir, func(name string, f *os.File, buf []byte) error {
		return hashBlob(name, f, buf, func([]byte) error { return nil })
	})
}

// plainCopy hashes the blobs of a layout and copies them into one file, which it
// brings to the disk as airdeck does.
func plainCopy(dir, out string) error {
	w, err := os.Create(out)
	if err != nil {
		return err
	}
	defer w.Close()
	var mu sync.Mutex
	var end int64
	err = eachBlob(dir, func(name string, f *os.File, buf []byte) error {
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		mu.Lock()
		at := end
		end += fi.Size()
		mu.Unlock()
		return hashBlob(name, f, buf, func(p []byte) error {
			_, err := w.WriteAt(p, at)
			at += int64(len(p))
			return err
		})
	})
	if err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	return w.Close()
}

// plainWrite writes so many bytes to a file, one after the other, and brings them
// to the disk.
func plainWrite(out, size string) error {
	left, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	buf := make([]byte, bufferSize)
	if _, err := rand.NewChaCha8([32]byte{}).Read(buf); err != nil {
		return err
	}
	w, err := os.Create(out)
	if err != nil {
		return err
	}
	defer w.Close()
	for left > 0 {
		n, err := w.Write(buf[:min(left, int64(len(buf)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	if err := w.Sync(); err != nil {
		return err
	}
	return w.Close()
}

// eachBlob opens every blob of a layout. Each goroutine has one buffer.
func eachBlob(dir string, do func(name string, f *os.File, buf []byte) error) error {
	dir = filepath.Join(dir, "blobs", "sha256")
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(0)
	if err != nil {
		return err
	}
	next := make(chan string, len(names))
	for _, n := range names {
		next <- n
	}
	close(next)
	var g errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			buf := make([]byte, bufferSize)
			for name := range next {
				f, err := os.Open(filepath.Join(dir, name))
				if err != nil {
					return err
				}
				err = do(name, f, buf)
				f.Close()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// hashBlob reads a blob, shows each piece, and compares its digest with its name.
func hashBlob(name string, r io.Reader, buf []byte, piece func([]byte) error) error {
	h := sha256.New()
	for {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err := piece(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if hex.EncodeToString(h.Sum(nil)) != name {
		return fmt.Errorf("the blob %s has other bytes", name)
	}
	return nil
}
