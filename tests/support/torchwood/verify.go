// Says what torchwood says of a proof: verify POLICY PROOF ENTRY. Exit 0: it holds. Exit 10: it does not.
package main

import (
	"fmt"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func read(name string) []byte {
	bytes, err := os.ReadFile(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return bytes
}

func main() {
	policy, err := torchwood.ParsePolicy(read(os.Args[1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	err = torchwood.VerifyProof(policy, tlog.RecordHash(read(os.Args[3])), read(os.Args[2]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(10)
	}
}
