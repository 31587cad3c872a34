// Unpacks one clearing message N times with moov-io/iso8583, from memory: no file, no framing, no
// totals. Prints how often it did.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/prefix"
)

func fixed(length int) field.Field {
	return field.NewString(&field.Spec{
		Length: length, Enc: encoding.ASCII, Pref: prefix.ASCII.Fixed,
	})
}

func upTo(length int, prefix prefix.Prefixer) field.Field {
	return field.NewString(&field.Spec{Length: length, Enc: encoding.ASCII, Pref: prefix})
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: iso8583 N")
	}
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	ll, lll := prefix.ASCII.LL, prefix.ASCII.LLL
	spec := &iso8583.MessageSpec{Fields: map[int]field.Field{
		0:  fixed(4),
		1:  field.NewBitmap(&field.Spec{Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
		2:  upTo(19, ll),
		3:  fixed(6),
		4:  fixed(12),
		12: fixed(12),
		24: fixed(3),
		26: fixed(4),
		31: upTo(23, ll),
		42: fixed(15),
		43: upTo(99, ll),
		48: upTo(999, lll),
		49: fixed(3),
		71: fixed(8),
		94: upTo(11, ll),
	}}
	message := iso8583.NewMessage(spec)
	message.MTI("1240")
	for number, value := range map[int]string{
		2: "4000000000000002", 3: "000000", 4: "000000012345", 12: "261120101112", 24: "200",
		26: "5411", 31: "05413335325000000000011", 42: "M00000000000001",
		43: "A SHOP\\1 MAIN STREET\\TOWN\\12345     CC USA", 48: "0002003CT10003003   ",
		49: "840", 71: "00000002", 94: "00000000000",
	} {
		if err := message.Field(number, value); err != nil {
			log.Fatal(err)
		}
	}
	packed, err := message.Pack()
	if err != nil {
		log.Fatal(err)
	}
	length := 0
	for range count {
		unpacked := iso8583.NewMessage(spec)
		if err := unpacked.Unpack(packed); err != nil {
			log.Fatal(err)
		}
		amount, err := unpacked.GetString(4)
		if err != nil {
			log.Fatal(err)
		}
		length += len(amount)
	}
	fmt.Println(count, length)
}
