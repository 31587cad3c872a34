"""Writes the files sample-files/cnab*/by-pycobranca-*.rem.

Usage: python pycobranca.py DIRECTORY, with Python 3.12 or newer and pycobranca 1.1.2. What it gives
to the library is what ingest/tests/formats/cnab.rs expects to read.
"""

import datetime
import pathlib
import sys
import warnings

# This script's own folder comes first on the path, and its name is the library's.
sys.path.pop(0)
warnings.simplefilter("ignore")

from pycobranca.cnab import (  # noqa: E402
    Pagamento,
    RemessaBancoBrasil240,
    RemessaBradesco400,
    RemessaItau400,
    RemessaSantander400,
    RemessaSicoob240,
)

FOLDER = pathlib.Path(sys.argv[1])


def title(number):
    return Pagamento(
        nosso_numero=str(100 + number),
        numero=str(500 + number),
        documento=str(500 + number),
        valor=100.10 + number,
        data_vencimento=datetime.date(2026, 12, 20 + number),
        data_emissao=datetime.date(2026, 11, 20),
        documento_sacado="11111111111",
        nome_sacado="Ana Souza",
        endereco_sacado="Rua Exemplo 1",
        bairro_sacado="Centro",
        cep_sacado="01310100",
        cidade_sacado="Sao Paulo",
        uf_sacado="SP",
    )


def write(name, layout, **more):
    company = {
        "pagamentos": [title(number) for number in range(3)],
        "empresa_mae": "EMPRESA EXEMPLO LTDA",
        "documento_cedente": "00000000000100",
        "agencia": "1234",
        "conta_corrente": "12345",
        "digito_conta": "6",
        "carteira": "18",
    }
    text = layout(**company, **more).gera_arquivo()
    FOLDER.joinpath(name).write_bytes(text.encode("latin-1"))


write("cnab240/by-pycobranca-banco-do-brasil.rem", RemessaBancoBrasil240, convenio="1234567", variacao="019")
write("cnab240/by-pycobranca-sicoob.rem", RemessaSicoob240, convenio="1234567", modalidade_carteira="01", parcela="01")
write("cnab400/by-pycobranca-bradesco.rem", RemessaBradesco400, codigo_empresa="12345")
write("cnab400/by-pycobranca-itau.rem", RemessaItau400)
write("cnab400/by-pycobranca-santander.rem", RemessaSantander400, codigo_transmissao="1" * 20)
