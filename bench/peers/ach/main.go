// Reads a NACHA file with moov-io/ach: `ach reader FILE` whole, with its control totals proven;
// `ach iterator FILE` entry by entry, without. Prints the entries and the sum of their amounts.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/moov-io/ach"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: ach reader|iterator FILE")
	}
	file, err := os.Open(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	entries, sum := 0, 0
	add := func(entry *ach.EntryDetail) {
		entries++
		sum += entry.Amount
	}
	if os.Args[1] == "reader" {
		read, err := ach.NewReader(file).Read()
		if err != nil {
			log.Fatal(err)
		}
		if err := read.Validate(); err != nil {
			log.Fatal(err)
		}
		for _, batch := range read.Batches {
			for _, entry := range batch.GetEntries() {
				add(entry)
			}
		}
	} else {
		iterator := ach.NewIterator(file)
		for {
			_, entry, err := iterator.NextEntry()
			if err != nil {
				log.Fatal(err)
			}
			if entry == nil {
				break
			}
			add(entry)
		}
	}
	fmt.Println(entries, sum)
}
