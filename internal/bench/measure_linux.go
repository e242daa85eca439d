package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// measure runs a program. The counters of its input and output are read when it
// has ended and before it is reaped: then they are complete, and still there.
func measure(args []string) (usage, error) {
	unix.CloseOnExec(3)
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	dieWithParent(c)
	begin := time.Now()
	if err := c.Start(); err != nil {
		return usage{}, err
	}
	for {
		err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return usage{}, fmt.Errorf("wait for %s: %w", args[0], err)
		}
	}
	u := usage{Wall: time.Since(begin)}
	counters, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", c.Process.Pid))
	if err != nil {
		return u, err
	}
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		return u, err
	}
	ru := c.ProcessState.SysUsage().(*syscall.Rusage)
	u.CPU = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	u.Memory = ru.Maxrss << 10
	u.Code = c.ProcessState.ExitCode()
	return u, u.count(counters)
}

// count reads the counters of /proc/PID/io.
func (u *usage) count(text []byte) error {
	into := map[string]*int64{"rchar": &u.Read, "wchar": &u.Wrote, "write_bytes": &u.Disk}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		n := into[name]
		if n == nil {
			continue
		}
		var err error
		if *n, err = strconv.ParseInt(value, 10, 64); err != nil {
			return err
		}
		delete(into, name)
	}
	if len(into) > 0 {
		return fmt.Errorf("the kernel does not count input and output:\n%s", text)
	}
	return nil
}

// dieWithParent leaves no process behind where the bench is killed.
func dieWithParent(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// settle has everything written that is waiting for the disk, so that one run does not
// pay for another's, and has so much of the free memory at hand: a virtual machine gives
// free memory back to its host, and to get it again can take longer than what is
// measured.
func settle(need int64) {
	unix.Sync()
	const huge, spare = 2 << 20, 512 << 20
	n := min(need, freeMemory()-spare) &^ (huge - 1)
	if n <= 0 {
		return
	}
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // it only makes it faster
	for i := 0; i < len(b); i += 4 << 10 {
		b[i] = 1
	}
	_ = unix.Munmap(b)
}

func freeMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Freeram) * int64(info.Unit)
}

// memoryDir makes a folder in memory, if there is room for so many bytes.
func memoryDir(need int64) (string, bool) {
	const dir = "/dev/shm"
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || fs.Type != unix.TMPFS_MAGIC || int64(fs.Bavail)*fs.Bsize < 4*need {
		return "", false
	}
	name, err := os.MkdirTemp(dir, "airdeck-bench-")
	return name, err == nil
}

// machine describes the machine.
func machine() []string {
	var out []string
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			out = append(out, strings.TrimSpace(value))
			break
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		out = append(out, bytesText(int64(info.Totalram)*int64(info.Unit))+" of memory")
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		out = append(out, "Linux "+unix.ByteSliceToString(name.Release[:])+" "+unix.ByteSliceToString(name.Machine[:]))
	}
	return out
}
