//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

func measure([]string) (usage, error) {
	return usage{}, errors.New("the bench needs Linux, which counts what a process reads and writes")
}

func dieWithParent(*exec.Cmd) {}

func settle(int64) {}

func memoryDir(int64) (string, bool) { return "", false }

func machine() []string { return nil }
