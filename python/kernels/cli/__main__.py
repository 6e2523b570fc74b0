from kernels.cli import main

main()
